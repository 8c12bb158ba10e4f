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

TradeId = Annotated[UUID | None, Field(description="A trade of the caller's that this grading is for")]
Rd = Annotated[Decimal, Field(ge=0, le=100, max_digits=6, description="Reflectance, per cent")]
PlusB = Annotated[Decimal, Field(ge=0, le=30, max_digits=6, description="Yellowness, Hunter +b")]
TrashArea = Annotated[
    Decimal, Field(ge=0, le=100, max_digits=6, description="Per cent of AREA, as an HVI line sees it")
]
Particles = Annotated[int, Field(ge=0, le=10_000, description="Pieces of trash that were counted")]


class HviFigures(Request):
    """What a laboratory reports of a sample, in the units of the USDA/AMS classing record. At least one of them.

    Finer figures than a record states are rounded to that, half up.
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
        None, ge=0, le=100, decimal_places=2, description="Per cent of WEIGHT, as exchanges and contracts count it"
    )
    leaf_grade: int | None = Field(None, ge=1, le=8, description="USDA leaf grade; 8 is below grade")
    moisture_pct: Decimal | None = Field(None, ge=0, le=40, decimal_places=2, description="Per cent of weight")
    color_grade: str | None = Field(
        None, pattern="^[1-8][1-5]$", description="USDA upland color grade as the laboratory gave it, 31 is Middling"
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
    """A photograph of lint in the sampling frame, before it is uploaded."""

    sha256: Sha256
    size: int = Field(gt=0, le=MAX_IMAGE_BYTES, description="Bytes")
    content_type: ImageType
    card: Literal["colorchecker24"] = Field(description="The colour card in the frame; without one there is no colour")


class ImageGrading(ImageUpload):
    """Grade by a photograph. Upload it as the answer says, then submit the grading."""

    kind: Literal["image"]
    trade_id: TradeId = None


class DeviceFigures(Request):
    """What the model on a telephone measured."""

    rd: Rd
    plus_b: PlusB
    trash_area_pct: TrashArea
    trash_particles: Particles


class DeviceGrading(Request):
    """Grade by what a telephone measured. It is provisional; with the image, the server's own result replaces it."""

    kind: Literal["device"]
    trade_id: TradeId = None
    model_sha256: Sha256
    result: DeviceFigures
    image: ImageUpload | None = None


GradingBody = Annotated[LabGrading | RecordGrading | ImageGrading | DeviceGrading, Field(discriminator="kind")]


class GradingCreate(RootModel[GradingBody]):
    """Ask for a grading, of one of four kinds."""


class AxisClass(Resource):
    """Where a value falls in a published table."""

    label: str
    table: str
    version: str
    source: str = Field(description="Where the table comes from")


class Measurement(Resource):
    """One property of the lint."""

    axis: AxisName
    value: Decimal = Field(description="As it is classed, graded and settled: rounded half up to what is reported")
    unit: str
    uncertainty: Decimal = Field(description="Standard uncertainty, in the same unit")
    source: Source
    classes: list[AxisClass]


class NotMeasured(Resource):
    """A property that this grading says nothing of."""

    axis: AxisName
    reason: Literal["not_reported", "not_from_image", "leaf_mapping_unpublished"]


class ColorGrade(Resource):
    """The USDA upland color grade as reported. It is not computed: the chart is published nowhere as data."""

    code: str | None
    name: str | None = None
    group: str | None = None
    table: str
    version: str
    source: str
    reason: Literal["chart_unavailable"] | None = Field(None, description="Why there is no code")


class PlatformGrade(Resource):
    """The platform's own grade, by its policy."""

    grade: PlatformGradeLabel | None
    confidence: Decimal = Field(description="From 0 to 1: how much was measured, and how surely it is this grade")
    policy: str = Field(description="The policy's version")
    reasons: list[str]


class ClassingCode(Resource):
    """A code of a classing record, with its name where it is known."""

    code: str
    name: str | None


class Classing(Resource):
    """Which bale a classing record is of, and what the classer said of it besides figures. What is blank is null."""

    gin_code: str | None
    bale: str | None = Field(description="The gin's number of the bale")
    date_classed: date | None
    extraneous_matter: ClassingCode | None = Field(description="Null if there is none")
    remarks: ClassingCode | None = Field(description="Null if there are none")
    staple_32nds: str | None = Field(description="Staple as the classer stated it, in 32nds of an inch")
    record_type: ClassingCode | None
    record_status: ClassingCode | None


class GradingResult(Resource):
    """What is known of the lint."""

    measured: list[Measurement]
    not_measured: list[NotMeasured]
    color_grade: ColorGrade
    platform_grade: PlatformGrade
    model_sha256: str | None = Field(None, description="The model that measured, for images")
    length_mm: Decimal | None = Field(None, description="Upper half mean length in millimetres too, to a tenth")
    classing: Classing | None = Field(None, description="What else a classing record says")


class Refusal(Resource):
    """Why an image cannot be graded, and what to do about it."""

    code: str
    detail: str


class Grading(Resource):
    """A grading as it stands."""

    id: UUID
    version: int
    kind: Kind
    status: Status = Field(description="provisional: measured on a telephone only; refused: the image cannot be graded")
    trade_id: UUID | None
    image: ImageUpload | None
    provisional: GradingResult | None = Field(description="What the telephone measured")
    result: GradingResult | None = Field(description="What counts, once completed")
    refusal: Refusal | None
    created_at: AwareDatetime
    updated_at: AwareDatetime


class GradingCreated(Grading):
    """A new grading, with how to upload its image."""

    upload: Upload | None


class GradingQuery(PageQuery):
    """Which gradings to list."""

    trade_id: UUID | None = None


class GradingPage(Page[Grading]):
    """Gradings, newest first."""


class GradingModel(Resource):
    """The model that grades images, for use on telephones: a TensorFlow Lite file."""

    model_version: str
    sha256: str
    size: int
    url: str = Field(description="Where its bytes are, relative to this API")
