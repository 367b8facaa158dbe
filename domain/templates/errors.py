"""What a caller is told when a template, its input or the wished output does not fit."""

from domain.errors import Invalid, NotFound


class TemplateNotFound(NotFound):
    """There is no template of that name."""

    code = "template_not_found"


class InputInvalid(Invalid):
    """The input does not fit the template."""

    code = "template_input_invalid"


class OutputInvalid(Invalid):
    """An image of that size or format is not possible."""

    code = "output_invalid"
