-- What to send: one row for each subdivision, with names instead of codes.
SELECT signalsmith.create_model('subdivisions', $$
    SELECT s.code, s.name, s.type, c.name AS country, c.flag, p.name AS part_of
    FROM subdivision s
    JOIN country c ON c.code = s.country
    LEFT JOIN subdivision p ON p.code = s.part_of
$$, primary_key => '{code}');

-- Where to: a web server that keeps a file for each record.
SELECT signalsmith.create_destination('files', 'http', '{
    "operations": {
        "upsert": {"request": {"method": "PUT",    "path": "/subdivisions/{{key}}.json"}},
        "delete": {"request": {"method": "DELETE", "path": "/subdivisions/{{key}}.json"}}
    }
}' || jsonb_build_object('base_url', :'url'));

-- How: mirror means that records vanish with their rows.
SELECT signalsmith.create_sync('subdivisions', 'subdivisions', 'files', 'mirror');
