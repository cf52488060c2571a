"""telebirr's fabric API: orders, their payment and refunds."""
