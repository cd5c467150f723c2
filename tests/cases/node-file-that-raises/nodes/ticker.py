"""ticker: a type with a mistake."""

import flowrunner.nood
