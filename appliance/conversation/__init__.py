"""What a conversation app is given and gives back. Apps import this package and `appliance.message` only."""
