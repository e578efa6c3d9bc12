/a(b/ "open
ab