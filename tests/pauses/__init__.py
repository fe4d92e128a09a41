"""The network stands still, answers get lost and the platform is killed, under load: each token is minted once."""
