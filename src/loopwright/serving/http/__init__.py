"""HTTP/1.1 on the event loop: connections, requests, responses and their bounds."""
