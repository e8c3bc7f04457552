#!/usr/bin/python3
"""Reads PL/pgSQL functions, and prints each name in them that a caller could decide.

Input: one JSON object a line, {"function", "definition", "pinned"}; before them one
with what pg_catalog has: {"relations", "functions", "types", "operators"}.

With search_path = pg_catalog, pg_temp functions and operators come from pg_catalog
alone, whereas a relation or a type that is not there may come from pg_temp.  So a
name has its schema, or is one of pg_catalog's; and a function whose path is not
pinned may say nothing without a schema.  Nor is any statement put together as text.
"""

import json
import re
import sys

from pglast import parser

# Names that are syntax.
SYNTAX_TYPES = {"UNKNOWN", "record", "trigger", "event_trigger"}


def nodes(tree):
    """Every node of a parse tree, as (kind, fields)."""
    if isinstance(tree, list):
        for item in tree:
            yield from nodes(item)
    elif isinstance(tree, dict):
        for kind, fields in tree.items():
            if isinstance(fields, dict):
                yield kind, fields
            yield from nodes(fields)


def words(names):
    return [name["String"].get("sval", name["String"].get("str")) for name in names if "String" in name]


class Function:
    def __init__(self, line, catalog):
        self.name = line["function"]
        self.catalog = catalog if line["pinned"] else {kind: [] for kind in catalog}
        self.tree = json.loads(parser.parse_plpgsql_json(self.without_our_types(line["definition"])))
        self.findings = set()

    @staticmethod
    def without_our_types(definition):
        """The parser knows no rows but records, nor what their fields are."""
        declarations, begin, body = definition.partition("BEGIN\n")
        declarations = re.sub(r"\bsignalsmith\.[a-z_]+(%rowtype)?(?=\s*(;|:=))", "record", declarations)
        body = re.sub(r"\b([a-z_]+)\.[a-z_]+(?=\s*:=)", r"\1", body)
        body = re.sub(r"(?<!INSERT )\bINTO (STRICT )?[a-z_]+\.[a-z_]+(, [a-z_]+\.[a-z_]+)*", "INTO found", body)
        return declarations + begin + body.replace("RETURN NEXT;", "NULL;")

    def check_name(self, kind, names):
        if len(names) == 1 and names[0] not in self.catalog[kind]:
            self.findings.add(f"{kind[:-1]} {names[0]}")

    def check_statement(self, sql):
        # An assignment is no statement: its right side is an expression.
        sql = re.sub(r"^\s*[a-z_.]+(\[[^]]*\])?\s*:=", "", sql)
        try:
            tree = json.loads(parser.parse_sql_json(sql))
        except parser.ParseError:
            tree = json.loads(parser.parse_sql_json("SELECT " + sql))
        found = list(nodes(tree))
        given = {fields["ctename"] for kind, fields in found if kind == "CommonTableExpr"}
        given |= {row["aliasname"] for row in (fields.get("alias", {}) for kind, fields in found) if "aliasname" in row}
        for kind, fields in found:
            if "relname" in fields and "schemaname" not in fields and fields["relname"] not in given:
                self.check_name("relations", [fields["relname"]])
            elif kind == "FuncCall":
                self.check_name("functions", words(fields["funcname"]))
            elif kind == "A_Expr" and "BETWEEN" not in fields["kind"]:
                self.check_name("operators", words(fields["name"]))
            if "typeName" in fields:
                self.check_name("types", words(fields["typeName"]["names"]))

    def check(self):
        for kind, fields in nodes(self.tree):
            if kind == "PLpgSQL_expr":
                self.check_statement(fields["query"])
            elif kind == "PLpgSQL_stmt_dynexecute" or kind == "PLpgSQL_stmt_dynfors":
                self.findings.add("a statement made of text")
            elif kind == "PLpgSQL_type" and fields["typname"] not in SYNTAX_TYPES:
                name = re.sub(r"\[\]|\(.*\)|%(row)?type", "", fields["typname"].strip(), flags=re.I).strip()
                if "." not in name and "%" not in fields["typname"]:
                    self.check_name("types", [name])
        return sorted(self.findings)


def main():
    catalog = {kind: set(names) for kind, names in json.loads(sys.stdin.readline()).items()}
    for line in sys.stdin:
        function = Function(json.loads(line), catalog)
        for finding in function.check():
            print(f"{function.name}: {finding}")


main()
