"""They watch and tell; nobody calls them."""
