"two \"words\"" "back\\slash" -"  "
two "words"