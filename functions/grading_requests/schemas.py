"""Gradings as the API shows them: what is asked for, and what came of it axis by axis."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import AwareDatetime, ConfigDict, Field, RootModel, ValidationInfo, field_validator, model_validator

from kapas.schemas.common import Page, PageQuery, Request, Resource, Sha256, Upload

AxisName = Literal[
    "micronaire",
    "strength",
    "length",
    "uniformity",
    "rd",
    "plus_b",
    "trash_area",
    "trash_particles",
    "trash_weight",
    "leaf",
    "moisture",
]
Source = Literal["lab", "image", "device"]
Kind = Literal["lab", "classing_record", "image", "device"]
Status = Literal["awaiting_image", "queued", "provisional", "completed", "refused"]
PlatformGradeLabel = Literal["A", "B", "C", "D"]
ImageType = Literal["image/jpeg", "image/png"]

MAX_IMAGE_BYTES = 20 << 20

TradeId = Annotated[UUID | None, Field(description="The caller's trade that this grading is for")]
Rd = Annotated[Decimal, Field(ge=0, le=100, max_digits=6, description="Reflectance, per cent")]
PlusB = Annotated[Decimal, Field(ge=0, le=30, max_digits=6, description="Yellowness, Hunter +b")]
TrashArea = Annotated[Decimal, Field(ge=0, le=100, max_digits=6, description="Percentage of AREA, as measured by HVI")]
Particles = Annotated[int, Field(ge=0, le=10_000, description="Number of trash particles")]


class HviFigures(Request):
    """Laboratory figures of a sample, in the units of the USDA/AMS classing record. At least one is required.

    Figures are rounded half up to the record's precision.
    """

    micronaire: Decimal | None = Field(None, ge=2, le=8, decimal_places=2, description="Micronaire reading")
    strength_g_tex: Decimal | None = Field(None, ge=10, le=60, decimal_places=1, description="Grams per tex")
    upper_half_mean_length_in: Decimal | None = Field(
        None, ge=Decimal("0.5"), le=2, decimal_places=3, description="Inches"
    )
    upper_half_mean_length_mm: Decimal | None = Field(
        None,
        ge=Decimal("12.7"),
        le=Decimal("50.8"),
        decimal_places=2,
        description="Millimetres, as laboratories in India report it, instead of inches",
    )
    uniformity_index_pct: Decimal | None = Field(None, ge=60, le=100, decimal_places=1)
    rd: Rd | None = None
    plus_b: PlusB | None = None
    trash_area_pct: TrashArea | None = None
    trash_particles: Particles | None = None
    trash_weight_pct: Decimal | None = Field(
        None, ge=0, le=100, decimal_places=2, description="Percentage of WEIGHT, as used by exchanges and contracts"
    )
    leaf_grade: int | None = Field(None, ge=1, le=8, description="USDA leaf grade; 8 is below grade")
    moisture_pct: Decimal | None = Field(None, ge=0, le=40, decimal_places=2, description="Per cent of weight")
    color_grade: str | None = Field(
        None,
        pattern="^[1-8][1-5]$",
        description="USDA upland color grade as reported by the laboratory; 31 is Middling",
    )

    @field_validator("upper_half_mean_length_mm")
    @classmethod
    def _one_length(cls, value: Decimal | None, info: ValidationInfo) -> Decimal | None:
        if value is not None and info.data.get("upper_half_mean_length_in") is not None:
            raise ValueError("Report the length in inches or in millimetres, not both")
        return value

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_dump(exclude_none=True):
            raise ValueError("Report at least one figure")
        return self


class LabGrading(Request):
    """Grade by laboratory figures."""

    kind: Literal["lab"]
    trade_id: TradeId = None
    figures: HviFigures


class RecordGrading(Request):
    """Grade by one line of a USDA classing file: upland, fixed width, blanks kept."""

    model_config = ConfigDict(str_strip_whitespace=False)

    kind: Literal["classing_record"]
    trade_id: TradeId = None
    record: str = Field(max_length=100, description="67 columns; a line feed at its end is ignored")


class ImageUpload(Request):
    """The announcement of a photograph of lint on the sampling board."""

    sha256: Sha256
    size: int = Field(gt=0, le=MAX_IMAGE_BYTES, description="Bytes")
    content_type: ImageType
    card: Literal["colorchecker24"] = Field(
        description="The colour card on the board; without one no colour can be measured"
    )


class ImageGrading(ImageUpload):
    """Grade by a photograph. Upload it as described in the answer, then submit the grading."""

    kind: Literal["image"]
    trade_id: TradeId = None


class DeviceFigures(Request):
    """Figures measured by the model on a phone."""

    rd: Rd
    plus_b: PlusB
    trash_area_pct: TrashArea
    trash_particles: Particles


class DeviceGrading(Request):
    """Grade by measurements of a phone. The result is provisional; with the image, the server's own result replaces it."""

    kind: Literal["device"]
    trade_id: TradeId = None
    model_sha256: Sha256
    result: DeviceFigures
    image: ImageUpload | None = None


GradingBody = Annotated[LabGrading | RecordGrading | ImageGrading | DeviceGrading, Field(discriminator="kind")]


class GradingCreate(RootModel[GradingBody]):
    """A request for a grading of one of four kinds."""


class AxisClass(Resource):
    """The class of a value in a published table."""

    label: str
    table: str
    version: str
    source: str = Field(description="Source of the table")


class Measurement(Resource):
    """One property of the lint."""

    axis: AxisName
    value: Decimal = Field(
        description="The value that is classed, graded and settled, rounded half up to the reported precision"
    )
    unit: str
    uncertainty: Decimal = Field(description="Standard uncertainty, in the same unit")
    source: Source
    classes: list[AxisClass]


class NotMeasured(Resource):
    """A property that this grading did not measure."""

    axis: AxisName
    reason: Literal["not_reported", "not_from_image", "leaf_mapping_unpublished"]


class ColorGrade(Resource):
    """The USDA upland color grade as reported. It is not computed, because the chart is not published as data."""

    code: str | None
    name: str | None = None
    group: str | None = None
    table: str
    version: str
    source: str
    reason: Literal["chart_unavailable"] | None = Field(None, description="Why there is no code")


class PlatformGrade(Resource):
    """The platform's own grade under its policy."""

    grade: PlatformGradeLabel | None
    confidence: Decimal = Field(description="From 0 to 1: share of measured axes times the probability of this grade")
    policy: str = Field(description="The policy's version")
    reasons: list[str]


class ClassingCode(Resource):
    """A code of a classing record, with its name where it is known."""

    code: str
    name: str | None


class Classing(Resource):
    """The bale of a classing record, and the classer's statements other than figures. Blank fields are null."""

    gin_code: str | None
    bale: str | None = Field(description="The gin's number of the bale")
    date_classed: date | None
    extraneous_matter: ClassingCode | None = Field(description="Null if there is none")
    remarks: ClassingCode | None = Field(description="Null if there are none")
    staple_32nds: str | None = Field(description="Staple as the classer stated it, in 32nds of an inch")
    record_type: ClassingCode | None
    record_status: ClassingCode | None


class GradingResult(Resource):
    """The measured properties of the lint."""

    measured: list[Measurement]
    not_measured: list[NotMeasured]
    color_grade: ColorGrade
    platform_grade: PlatformGrade
    model_sha256: str | None = Field(None, description="The model that measured, for images")
    length_mm: Decimal | None = Field(None, description="Upper half mean length in millimetres, to a tenth")
    classing: Classing | None = Field(None, description="Other statements of a classing record")


class Refusal(Resource):
    """Why an image cannot be graded, and what to do about it."""

    code: str
    detail: str


class Grading(Resource):
    """The current state of a grading."""

    id: UUID
    version: int
    kind: Kind
    status: Status = Field(description="provisional: measured on a phone only; refused: the image cannot be graded")
    trade_id: UUID | None
    image: ImageUpload | None
    provisional: GradingResult | None = Field(description="Measurements of the phone")
    result: GradingResult | None = Field(description="The authoritative result, once completed")
    refusal: Refusal | None
    created_at: AwareDatetime
    updated_at: AwareDatetime


class GradingCreated(Grading):
    """A new grading, with how to upload its image."""

    upload: Upload | None


class GradingQuery(PageQuery):
    """Filters for gradings."""

    trade_id: UUID | None = None


class GradingPage(Page[Grading]):
    """Gradings, newest first."""


class GradingModel(Resource):
    """The model that grades images, for use on phones, as a TensorFlow Lite file."""

    model_version: str
    sha256: str
    size: int
    url: str = Field(description="Download path, relative to this API")
