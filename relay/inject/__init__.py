"""The tracking image: MIME scanner, insertion point, splice plan, render. Pure."""
