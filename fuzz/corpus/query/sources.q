source:api source:"a b" -source:*edge* !level=info level<=debug level:err
x