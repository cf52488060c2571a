"""What the appliance does, in numbers: counts as it runs, metrics for those who collect them."""
