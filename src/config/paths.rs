//! Where the config, the state and the user's themes live (XDG base directories).
