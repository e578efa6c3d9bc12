/re(gex)?\d+/ ~-/x\/y/ /^a\.b$/
regex7