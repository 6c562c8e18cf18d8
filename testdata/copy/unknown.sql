SELECT 'é' AS v
