"""What a model's files would run when they are opened, read without opening any of them."""
