status>=500 user=~"^sid" took>30ms -method=GET svc="a b" a.b.c!=1 level=~x x=
{"status":502,"user":"sid7"}