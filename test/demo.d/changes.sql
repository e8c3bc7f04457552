UPDATE subdivision SET name = 'Free State of Bavaria' WHERE code = 'DE-BY';
UPDATE subdivision SET type = 'Sunny island' WHERE code = 'ES-CN';
INSERT INTO subdivision VALUES ('ES-OZ', 'ES', 'Land of Oz', 'Fairyland', NULL);
DELETE FROM subdivision WHERE code = 'ZW-HA';
