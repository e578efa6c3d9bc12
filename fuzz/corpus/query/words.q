level>=warn timeout -healthz
2026-08-19T14:30:01Z ERROR timeout