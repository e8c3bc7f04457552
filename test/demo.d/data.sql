-- The data: every country (ISO 3166-1) and its subdivisions (ISO 3166-2), from
-- Debian's package iso-codes.
\set countries `cat /usr/share/iso-codes/json/iso_3166-1.json`
\set subdivisions `cat /usr/share/iso-codes/json/iso_3166-2.json`

CREATE TABLE country (
    code text PRIMARY KEY,
    name text NOT NULL,
    flag text NOT NULL
);
INSERT INTO country
SELECT item ->> 'alpha_2', coalesce(item ->> 'common_name', item ->> 'name'), item ->> 'flag'
FROM jsonb_array_elements(:'countries'::jsonb -> '3166-1') AS item;

CREATE TABLE subdivision (
    code    text PRIMARY KEY,
    country text NOT NULL REFERENCES country,
    name    text NOT NULL,
    type    text NOT NULL,
    part_of text
);
INSERT INTO subdivision
SELECT item ->> 'code', left(item ->> 'code', 2), item ->> 'name', item ->> 'type',
       CASE WHEN item ->> 'parent' LIKE '__-%' THEN item ->> 'parent'
            ELSE left(item ->> 'code', 3) || (item ->> 'parent') END
FROM jsonb_array_elements(:'subdivisions'::jsonb -> '3166-2') AS item;

ANALYZE country, subdivision;
