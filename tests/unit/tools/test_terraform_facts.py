"""What the stand-in for Google's providers refuses as Google would, beyond the schema."""

from tools.terraform.facts import ROLES_OF_A_CONDITION, refused_condition


def condition(roles: int) -> str:
    listed = ", ".join(f"'roles/number{number}'" for number in range(roles))
    return f"api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', []).hasOnly([{listed}])"


def test_a_condition_names_ten_roles_at_most() -> None:
    assert refused_condition(condition(ROLES_OF_A_CONDITION)) is None
    assert refused_condition(condition(32)) == "hasOnly takes 10 roles at most, not 32"
    assert refused_condition("resource.name.startsWith('projects/kapas')") is None
