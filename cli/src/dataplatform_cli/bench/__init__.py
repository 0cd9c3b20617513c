"""What the platform costs, beside its limit and its peers, all measured in one run on scratch servers."""
