"""What the API takes and answers, a module for each of its parts."""
