since:-30m until:2026-08-19T14:45 since:"2026-08-19 14:30" until:now
1787149801 x