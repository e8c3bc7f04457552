-- What connectors there are, and what each can do.
CREATE EXTENSION signalsmith;
CREATE ROLE regress_signalsmith_maker IN ROLE signalsmith_user;
CREATE ROLE regress_signalsmith_other IN ROLE signalsmith_user;

-- all that are built in are valid: none
SELECT name FROM signalsmith.connector
WHERE name <> 'http' AND signalsmith._check_manifest(name, manifest) IS NULL;

SET ROLE regress_signalsmith_maker;
SELECT signalsmith.create_connector('notes', '{
    "description": "Notes: a wall of them",
    "config": {
        "wall":  {"type": "string", "required": true, "description": "the wall''s number"},
        "size":  {"type": "integer", "default": 50, "maximum": 100},
        "tone":  {"type": "string", "enum": ["kind", "plain"], "default": "kind"},
        "token": {"type": "string", "secret": true, "description": "access token"}
    },
    "base_url": "https://notes.example.com/{{config.wall}}",
    "auth": {"header": {"Authorization": "Bearer {{secret.token}}"}},
    "rate": {"limits": [{"requests": 10, "per": "1s"}, {"rows": 100, "per": "1m", "op": "delete"}], "max_in_flight": 2},
    "objects": {
        "notes": {
            "description": "notes on the wall",
            "identifier": ["title", "*"],
            "fields": {"title": {"type": "string", "required": true, "description": "what it is about"}, "text": {"type": "string"}}
        },
        "views": {
            "operations": {"create": {"request": {"method": "POST", "path": "/views"}}}
        }
    },
    "operations": {
        "upsert": {"request": {"method": "PUT", "path": "/notes", "envelope": "{{rows}}"},
                   "batch": {"max_records": "{{config.size}}", "max_bytes": 500000}},
        "delete": {"request": {"method": "DELETE", "path": "/notes/{{key}}"}}
    }
}');
SELECT * FROM signalsmith.describe_connector('notes');
SELECT * FROM signalsmith.describe_connector('ntes');
SELECT * FROM signalsmith.describe_connector('http');
SELECT * FROM signalsmith.list_connectors() WHERE connector IN ('algolia', 'http', 'customerio', 'notes');
SELECT * FROM signalsmith.describe_connector('customerio');
SELECT signalsmith.create_connector('plain', '{"base_url": "https://example.com", "operations": {"create": {"request": {"method": "POST", "path": "/"}}}}');
SELECT * FROM signalsmith.describe_connector('plain');

-- another role's are not there
SET ROLE regress_signalsmith_other;
\set VERBOSITY terse
SELECT * FROM signalsmith.list_connectors() WHERE connector = 'notes';
SELECT * FROM signalsmith.describe_connector('notes');
RESET ROLE;

DROP EXTENSION signalsmith CASCADE;
DROP ROLE regress_signalsmith_maker, regress_signalsmith_other;
