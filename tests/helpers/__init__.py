"""What tests share: small bundles, bodies, networks and files, made in place."""
