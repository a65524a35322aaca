"""Expressions give what Ansible's own templar gives: the same value of the same type, or an error where it has one."""

import pytest
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from nsprov.errors import InputError
from nsprov.render.native import OMIT, Expressions, SecretText

VARIABLES = {
    "one": 1,
    "text": "abc",
    "number": "42",
    "yes": True,
    "empty": "",
    "nothing": None,
    "items": [3, 1, 2],
    "mapping": {"a": {"b": ["x", "y"]}, "c": 2},
    "result": {"changed": True, "failed": False, "rc": 0, "stdout": "ok 1\nok 2", "stdout_lines": ["ok 1", "ok 2"]},
    "loop": {"changed": False, "skipped": True, "results": [{"rc": 1, "item": "a"}, {"rc": 0, "item": "b"}]},
    "two": "{{ one + 1 }}",
    "chain": "{{ two }}{{ one }}",
    "list": ["{{ one }}", "{{ text }}"],
    "missing": "{{ nowhere }}",
}

EXPRESSIONS = [
    *("plain", "{{ one }}", "{{ text }}", "{{ items }}", "{{ mapping }}", "{{ yes }}", "{{ nothing }}", "{{ empty }}"),
    *("x{{ one }}", "{{ one }}{{ one }}", "a{{ nothing }}b", "{{ number }}", "{{ number | int }}", "{{ '7' }}", "{{ 7 }}"),
    *("{{ [] }}", "{{ {} }}", "{{ none }}", "{{ true }}", "{{ 1.5 }}", "{{ (1, 2) | list }}", "{{ text ~ one }}", " {{ one }}"),
    *("{{ two }}", "{{ chain }}", "{{ list }}", "{{ list[0] }}", "{{ mapping.a.b[1] }}", "{{ mapping['a']['b'] | first }}"),
    *("{{ nowhere | default('d') }}", "{{ nowhere | default(omit_me | default(3)) }}", "{{ missing | default(5) }}"),
    *("{{ empty | default('d') }}", "{{ empty | default('d', true) }}", "{{ nothing | default('d', true) }}"),
    *("{{ nowhere is defined }}", "{{ missing is defined }}", "{{ one is defined }}", "{{ mapping.z is defined }}"),
    *("{{ mapping.z | default('q') }}", "{{ mapping.z.y | default('q') }}", "{{ nowhere.z | default('q') }}"),
    *("{{ result is changed }}", "{{ result is failed }}", "{{ result is succeeded }}", "{{ loop is skipped }}"),
    *("{{ result.stdout_lines | map('regex_replace', 'ok', 'no') | list }}", "{{ items | sort }}", "{{ items | max }}"),
    *("{{ loop.results | selectattr('rc', 'equalto', 0) | map(attribute='item') | list }}", "{{ items | sum }}"),
    *("{{ loop.results | rejectattr('rc') | map(attribute='item') | join(',') }}", "{{ items | join('-') }}"),
    *(
        "{{ text is match('a.c') }}",
        "{{ text is search('b') }}",
        "{{ text is match('b') }}",
        "{{ text is regex('^A', ignorecase=true) }}",
    ),
    *("{{ '1.10' is version('1.9', '>') }}", "{{ '1.0' is version('1.0.1', 'lt') }}", "{{ '2' is version('2', 'ge') }}"),
    *("{{ [1] is subset(items) }}", "{{ items is superset([1, 2]) }}", "{{ items is contains(3) }}", "{{ 3 in items }}"),
    *("{{ [true, false] is any }}", "{{ [true, false] is all }}", "{{ 'yes' is truthy(convert_bool=true) }}"),
    *("{{ '/' is directory }}", "{{ '/' is exists }}", "{{ 'x' is abs }}", "{{ '/nowhere' is file }}"),
    *("{% if yes %}on{% else %}off{% endif %}", "{% for i in items %}{{ i }},{% endfor %}", "{% set q = 3 %}{{ q }}"),
    *("{{ 'a' if yes else 'b' }}", "{{ 'a' if not yes }}", "{{ items | length > 2 }}", "{{ one == 1 and text != 'x' }}"),
    *(
        "{{ range(3) | list }}",
        "{{ dict(a=1) }}",
        "{{ items[1:] }}",
        "{{ text[0] }}",
        "{{ text | upper }}",
        "{{ '%s-%d' | format(text, one) }}",
    ),
    *(
        "{{ mapping | dict2items | map(attribute='key') | list }}",
        "{{ mapping | combine({'c': 3}) }}",
        "{{ number | int + 1 }}",
    ),
    *(
        "{{ items | map('string') | list }}",
        "{{ 'true' | bool }}",
        "{{ yes | ternary('y', 'n') }}",
        "{{ [[1], [2]] | flatten }}",
    ),
    *("{{ 10 // 3 }}", "{{ 10 / 4 }}", "{{ 2 ** 8 }}", "{{ 'ab' * 2 }}", "{{ items + [4] }}", "{{ '{{' }}", "{# comment #}x"),
    *(
        "{{ text | replace('a', 'b') }}",
        "{{ ' x ' | trim }}",
        "{{ 'a,b'.split(',') }}",
        "{{ 'a b' | split }}",
        "{{ text | hash('md5') }}",
    ),
]

ERRORS = [
    "{{ nowhere }}",
    "{{ missing }}",
    "x{{ nowhere }}",
    "{{ mapping.z }}",
    "{{ one + text }}",
    "{{ one | nofilter }}",
    "{{ one",
    "{{ items[9] }}",
]

CONDITIONS = [
    *("one == 1", "yes", "not yes", "text == 'abc' and one < 2", "nowhere is defined", "nowhere is not defined or nowhere"),
    *("result is changed", "result.rc == 0", "'ok' in result.stdout", "items | length == 3", "mapping.z is undefined"),
    *(
        "number | int > 41",
        "two == 2",
        "loop.results[0].rc != 0",
        "(yes or one == 2) and items",
        "empty",
        "text",
        "one",
        "nothing",
    ),
    *("items", "'true'", "true", "False", "yes | bool", "nowhere", "missing == 1", "one ==", "text is match('^a')"),
]


def ansible(text, **terms):
    return Templar(loader=DataLoader(), variables=VARIABLES_TRUSTED).template(trust_as_template(text), **terms)


def trusted(value):
    if isinstance(value, str):
        return trust_as_template(value)
    if isinstance(value, list):
        return [trusted(item) for item in value]
    return {key: trusted(item) for key, item in value.items()} if isinstance(value, dict) else value


VARIABLES_TRUSTED = trusted(VARIABLES)


def outcome(call, kind):
    """Give a value with its type, or that there is none."""
    try:
        value = call()
    except kind:
        return "error"
    return next(kind for kind in (bool, int, float, str, list, dict, type(None)) if isinstance(value, kind)), value


@pytest.mark.parametrize("text", EXPRESSIONS + ERRORS)
def test_a_value_is_what_ansible_makes_of_it(text):
    found = outcome(lambda: Expressions().evaluate(text, VARIABLES), InputError)
    expected = outcome(lambda: ansible(text), AnsibleError)

    assert found == expected


@pytest.mark.parametrize("text", CONDITIONS)
def test_a_condition_holds_where_ansible_says_so(text):
    def asked():
        templar = Templar(loader=DataLoader(), variables=VARIABLES_TRUSTED)
        return templar.evaluate_conditional(trust_as_template(text))

    assert outcome(lambda: Expressions().condition(text, VARIABLES), InputError) == outcome(asked, AnsibleError)


def test_an_argument_that_is_omitted_is_left_out():
    found = Expressions().evaluate({"a": "{{ omit }}", "b": ["{{ nowhere | default(omit) }}", 1], "{{ text }}": 2}, VARIABLES)

    assert found == {"b": [1], "abc": 2}
    assert Expressions().evaluate("{{ omit }}", {}) is OMIT


def test_what_is_made_of_a_secret_is_secret():
    variables = {"password": SecretText("s3cret"), "url": "https://me:{{ password }}@lab"}
    found = Expressions().evaluate({"url": "{{ url }}", "args": ["{{ password }}"]}, variables)

    assert found == {"url": "https://me:s3cret@lab", "args": ["s3cret"]}
    assert "s3cret" not in repr(found)


def test_the_variables_that_a_value_asks_for():
    asked = Expressions().names({"{{ a }}": ["{{ b.c }} {% for d in e %}{{ d }}{% endfor %}", 3, "plain"]})

    assert asked == {"a", "b", "e"}


def test_what_refers_to_itself_is_said():
    with pytest.raises(InputError) as caught:
        Expressions().evaluate("{{ a }}", {"a": "{{ b }}", "b": "{{ a }}"})

    assert "refers to itself" in caught.value.diagnostics[0].detail


def test_a_template_is_filled_in_with_what_it_includes(tmp_path):
    (tmp_path / "motd.j2").write_text("{{ two }}\n{% include 'more.j2' %}")
    (tmp_path / "more.j2").write_text("{{ text }} {{ nowhere | default('-') }}\n")

    assert Expressions([str(tmp_path)]).template("motd.j2", VARIABLES) == "2\nabc -\n"


def test_a_template_says_in_which_line_it_fails(tmp_path):
    (tmp_path / "motd.j2").write_text("fine\n{{ nowhere }}\n")
    with pytest.raises(InputError) as caught:
        Expressions([str(tmp_path)]).template("motd.j2", VARIABLES)

    assert caught.value.diagnostics[0].where == "motd.j2:2"
