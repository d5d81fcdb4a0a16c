"""How the asset `blazepose/landmarks.safetensors` is made; not installed."""
