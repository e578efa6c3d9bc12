"/etc/passwd" "-x" "~y" "!z" "source:a" /\\/ /\/\//
/etc/passwd