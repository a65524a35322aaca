#!/bin/sh
cat <<'END'
{"g": {"hosts": "a", "children": [1]}, "h": {"hosts": ["b", ""], "vars": []}, "i": {"hosts": ["c"]}, "_meta": {"hostvars": {"c": 1}}}
END
