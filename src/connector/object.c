/*
 * object.c
 *		The kinds of object that a connector can write, and what a sync to one
 *		of them must have.
 *
 * Some vendors refuse a contact without a last name.  A sync whose mappings can
 * never give one would have each of its rows refused, one by one; so the
 * manifest declares such fields, and the sync is refused instead, once, when it
 * is saved.
 */
#include "postgres.h"

#include "connector/connector_internal.h"
#include "connector/jsonb_reader.h"

/* In a list of identifiers: any other field will do.  Of objects: any other. */
#define ANY "*"

/* --- compiling --- */

static void
compile_fields(Compiler *compiler, const char *path, const JsonbValue *json,
			   ObjectSpec *object)
{
	static const char *const keys[] = {"type", "required", "description"};
	JsonbValue	fields;
	JsonbMember *members;

	if (!jsonb_member(json, "fields", &fields))
		return;
	path = path_member(path, "fields");
	if (!jsonb_is_object(&fields))
		compiler_fault(compiler, path, NULL, "It must be an object, not %s.",
					   jsonb_type_phrase(&fields));
	object->field_count = jsonb_members(&fields, &members);
	object->fields = palloc(object->field_count * sizeof(FieldSpec));
	for (int i = 0; i < object->field_count; i++)
	{
		const char *member_path = path_member(path, members[i].name);

		check_keys(compiler, member_path, &members[i].value, keys, lengthof(keys));
		object->fields[i].name = members[i].name;
		object->fields[i].required = read_bool(compiler, member_path, &members[i].value,
											   "required", false);
	}
}

static void
compile_identifiers(Compiler *compiler, const char *path, const JsonbValue *json,
					ObjectSpec *object)
{
	JsonbValue	list;
	JsonbValue *elements;

	if (!jsonb_member(json, "identifier", &list))
		return;
	path = path_member(path, "identifier");
	if (!jsonb_is_array(&list))
		compiler_fault(compiler, path, NULL, "It must be a list of fields, not %s.",
					   jsonb_type_phrase(&list));
	object->identifier_count = jsonb_elements(&list, &elements);
	object->identifiers = palloc(object->identifier_count * sizeof(char *));
	for (int i = 0; i < object->identifier_count; i++)
	{
		if (elements[i].type != jbvString)
			compiler_fault(compiler, path_element(path, i), NULL, "It must be a string, not %s.",
						   jsonb_type_phrase(&elements[i]));
		object->identifiers[i] = jsonb_string(&elements[i]);
	}
}

static void
compile_object(Compiler *compiler, const char *path, const JsonbMember *member,
			   const JsonbValue *manifest, Connector *connector)
{
	static const char *const keys[] = {
		"operations", "lookup", "description", "identifier", "fields", "other_fields"
	};
	const JsonbValue *json = &member->value;
	const char *lookup_path = path;
	const JsonbValue *lookup_parent = json;
	JsonbValue	operations;
	JsonbValue	lookup;

	check_keys(compiler, path, json, keys, lengthof(keys));
	connector->object.name = member->name;
	connector->object.closed = !read_bool(compiler, path, json, "other_fields", true);
	compile_fields(compiler, path, json, &connector->object);
	compile_identifiers(compiler, path, json, &connector->object);
	if (jsonb_member(json, "operations", &operations))
		path = path_member(path, "operations");
	else if (jsonb_member(manifest, "operations", &operations))
		path = "operations";
	else
		compiler_fault(compiler, path_member(path, "operations"), NULL, "It is required.");
	if (!jsonb_member(json, "lookup", &lookup))
	{
		lookup_path = "";
		lookup_parent = manifest;
	}
	operations_compile(compiler, path, &operations, lookup_path, lookup_parent, manifest,
					   connector);
}

char *
object_choices(const Connector *connector)
{
	StringInfoData list;
	const char *separator = "";

	initStringInfo(&list);
	for (int i = 0; i < connector->object_count; i++)
	{
		if (strcmp(connector->objects[i].name, ANY) == 0)
			continue;
		appendStringInfo(&list, "%s\"%s\"", separator, connector->objects[i].name);
		separator = ", ";
	}
	for (int i = 0; i < connector->object_count; i++)
	{
		JsonbValue	description;

		if (strcmp(connector->objects[i].name, ANY) == 0 &&
			jsonb_member(&connector->objects[i].value, "description", &description))
			appendStringInfo(&list, "%s%s", separator, jsonb_plain_text(&description));
	}
	return list.data;
}

static void
unknown_object(const Compiler *compiler, const Connector *connector)
{
	const char **names = palloc(connector->object_count * sizeof(char *));

	for (int i = 0; i < connector->object_count; i++)
		names[i] = connector->objects[i].name;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("connector \"%s\" has no object \"%s\"", compiler->connector, compiler->object),
			 errhint("%s", choice_hint(compiler->object, names, connector->object_count))));
}

/*
 * The place of the object that the sync is for, or -1.  One of them alone need
 * not be named, and "*" is any that has no other entry.
 */
static int
find_object(const Compiler *compiler, const JsonbMember *members, int count)
{
	int			any = -1;

	for (int i = 0; i < count; i++)
	{
		if (strcmp(members[i].name, ANY) == 0)
			any = i;
		else if (compiler->object == NULL ? count == 1 : strcmp(members[i].name, compiler->object) == 0)
			return i;
	}
	return compiler->object == NULL ? -1 : any;
}

/* All are checked, whichever the sync is for. */
static void
choose_object(Compiler *compiler, const JsonbValue *objects, const JsonbValue *manifest,
			  Connector *connector)
{
	JsonbMember *members;
	Connector	chosen = *connector;
	int			choice;
	int			count;

	if (!jsonb_is_object(objects) || (count = jsonb_members(objects, &members)) == 0)
		compiler_fault(compiler, "objects", NULL,
					   "It must be an object with at least one member.");
	choice = find_object(compiler, members, count);
	for (int i = 0; i < count; i++)
	{
		Compiler	of_object = *compiler;
		Connector	other = *connector;

		of_object.tentative |= i != choice;
		of_object.of_other_object = i != choice;
		if (i == choice && compiler->object == NULL)
			of_object.object = members[i].name;
		compile_object(&of_object, path_member("objects", members[i].name), &members[i],
					   manifest, &other);
		if (i == choice)
			chosen = other;
	}
	*connector = chosen;
	connector->needs_object = choice < 0;
	connector->object_count = count;
	connector->objects = members;
	if (choice < 0 && compiler->object != NULL)
		unknown_object(compiler, connector);
	if (choice >= 0 && compiler->object != NULL)
		connector->object.name = compiler->object;
}

void
objects_compile(Compiler *compiler, const JsonbValue *manifest, Connector *connector)
{
	JsonbValue	json;

	if (jsonb_member(manifest, "objects", &json))
		choose_object(compiler, &json, manifest, connector);
	else if (jsonb_member(manifest, "operations", &json))
		operations_compile(compiler, "operations", &json, "", manifest, manifest, connector);
	else
		compiler_fault(compiler, "operations", NULL, "It is required.");
}

/* --- what a sync must have --- */

/* Whether a mapping gives the field, or a part of it. */
static bool
gives_field(const FieldMapping *mapping, const char *field)
{
	size_t		length = strlen(field);

	return strncmp(mapping->destination, field, length) == 0 &&
		(mapping->destination[length] == '\0' || mapping->destination[length] == '.');
}

static bool
is_mapped(const SyncDefinition *definition, const char *field)
{
	for (int i = 0; i < definition->mapping_count; i++)
		if (gives_field(&definition->mappings[i], field))
			return true;
	return false;
}

static void
check_required(const ObjectSpec *object, const SyncDefinition *definition)
{
	for (int i = 0; i < object->field_count; i++)
	{
		const char *field = object->fields[i].name;

		if (!object->fields[i].required || is_mapped(definition, field))
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("sync \"%s\" maps nothing to field \"%s\", which object \"%s\" requires",
						definition->sync_name, field, object->name),
				 errdetail("The destination refuses every record that is created without it."),
				 errhint("Add it to the field mappings, such as {\"source\": COLUMN, \"destination\": \"%s\"}, or {\"constant\": VALUE, \"destination\": \"%s\"}.",
						 field, field)));
	}
}

static void
check_known(const ObjectSpec *object, const SyncDefinition *definition)
{
	const char **names = palloc(object->field_count * sizeof(char *));

	for (int i = 0; i < object->field_count; i++)
		names[i] = object->fields[i].name;
	for (int i = 0; i < definition->mapping_count; i++)
	{
		bool		known = false;

		for (int j = 0; j < object->field_count && !known; j++)
			known = gives_field(&definition->mappings[i], names[j]);
		if (!known)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
					 errmsg("object \"%s\" has no field \"%s\"", object->name,
							definition->mappings[i].destination),
					 errhint("%s", choice_hint(definition->mappings[i].destination, names,
											   object->field_count))));
	}
}

/* The fields that may identify a record, for people: "a", "b" or another one. */
static char *
identifier_phrase(const ObjectSpec *object)
{
	StringInfoData phrase;

	initStringInfo(&phrase);
	for (int i = 0; i < object->identifier_count; i++)
	{
		if (i > 0)
			appendStringInfoString(&phrase, i == object->identifier_count - 1 ? " or " : ", ");
		if (strcmp(object->identifiers[i], ANY) != 0)
			appendStringInfo(&phrase, "\"%s\"", object->identifiers[i]);
		else
			appendStringInfoString(&phrase, i > 0 ? _("another unique field") : _("a unique field"));
	}
	return phrase.data;
}

static void
check_identifier(const ObjectSpec *object, const SyncDefinition *definition)
{
	const char *field = definition->identifier;

	if (object->identifier_count == 0)
		return;
	for (int i = 0; i < object->identifier_count && field != NULL; i++)
		if (strcmp(object->identifiers[i], ANY) == 0 || strcmp(object->identifiers[i], field) == 0)
			return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
			 field == NULL ?
			 errmsg("sync \"%s\" maps no field that identifies its records", definition->sync_name) :
			 errmsg("object \"%s\" cannot be identified by field \"%s\"", object->name, field),
			 errdetail("Object \"%s\" is identified by %s.", object->name, identifier_phrase(object)),
			 errhint("Map that field, and mark its mapping: {\"source\": COLUMN, \"destination\": \"%s\", \"identifier\": true}.",
					 strcmp(object->identifiers[0], ANY) != 0 ? object->identifiers[0] : "FIELD")));
}

void
connector_check_mappings(const Connector *connector, const SyncDefinition *definition)
{
	const ObjectSpec *object = &connector->object;

	if (object->name == NULL)
		return;
	if (object->closed)
		check_known(object, definition);
	check_identifier(object, definition);
	if (definition->mode != MODE_UPDATE)
		check_required(object, definition);
}
