"""The tests of Lamina; the folders mirror the layers, and `clients`, `smbtorture` and `house` look at the whole."""
