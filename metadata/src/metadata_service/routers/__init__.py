"""HTTP routes: they read the request, call one service and shape the answer."""
