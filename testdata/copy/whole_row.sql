CREATE TABLE golden_table (a int4, gone text, b numeric(10,2), c text[]);
ALTER TABLE golden_table DROP COLUMN gone;
INSERT INTO golden_table VALUES (1, 1.50, '{a,NULL}'), (NULL, NULL, NULL), (-1, -0.01, '{}');

SELECT golden_table AS v, a
FROM golden_table
