"""Google Groups: a group that is not there, or not open to the sender; Google does not say which."""

from relay.bounce.category import Category
from relay.bounce.families.family import Family

FAMILY = Family(
    name="Google Groups",
    signs=("groups.google.com", "googlemail.com"),
    category=Category.POLICY,
    action="failed",
)
