"""Deployable files whose numbers come from a plan: images, Compose, Kubernetes, NGINX, alert rules, Terraform."""
