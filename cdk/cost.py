"""What a fleet on AWS costs in a month: ``python -m cdk.cost`` prints the table of ``docs/aws.md``.

Prices and habits are assumptions, and each has its name here, so that who has others changes a line. The
model's bill, which is larger than all of this, is not in it. Pure: reads no account.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cdk.settings import AwsSettings
from cdk.words import ALARMS, METRICS

HOURS = 730.0
"""Hours of a month."""
_KILO = 1000.0
_MILLION = 1e6


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Dollars, on demand, region us-east-1; put down on 2026-11-20 from memory, not looked up at AWS."""

    vcpu_hour: float = 0.03238  # Fargate, Linux, ARM
    gb_hour: float = 0.00356
    address_hour: float = 0.005  # a public IPv4 address in use
    disk_gb_hour: float = 0.000111  # beyond 20 GB
    lambda_gb_second: float = 0.0000133334  # ARM
    lambda_million: float = 0.20
    read_million: float = 0.125  # DynamoDB on demand, a consistent read of up to 4 KB
    write_million: float = 0.625  # a write of up to 1 KB; in a transaction two
    table_gb: float = 0.25 + 0.20  # storage and point-in-time recovery
    sqs_million: float = 0.40
    secret: float = 0.40
    alarm: float = 0.10
    metric: float = 0.30
    image_gb: float = 0.10
    log_gb: float = 0.50 + 0.03
    edge_ten_thousand: float = 0.01  # CloudFront, requests over https, North America
    edge_gb: float = 0.085  # from CloudFront to viewers


@dataclass(frozen=True, kw_only=True)
class Habits:
    """What a user does in a month, and what the product makes of it."""

    days: float = 22
    messages_a_day: float = 20
    worker_hours_a_day: float = 4  # at work, and idle until it leaves
    page_hours_a_day: float = 2  # an open page follows a thread
    streams_left_an_hour: float = 10  # another thread was opened, the page was closed or lost its network
    requests_a_message: float = 15
    request_seconds: float = 0.15
    writes_a_message: float = 700  # 100 batches of events, three items each, twice for the transaction
    reads_a_message: float = 200
    kilobytes_a_message: float = 60
    session_kilobytes_a_message: float = 20  # compressed; 25 with the first message, 3 and more with others
    session_months_kept: float = 2
    months_kept: float = 6
    log_megabytes_an_hour: float = 1.0
    preview_loads_a_day: float = 40
    requests_a_load: float = 30  # a page of a dev server is many small files
    kilobytes_a_load: float = 1500
    sweep_seconds_a_worker: float = 0.004  # 8 at once, two requests each
    looks_of_a_slot: float = 3600  # an hour


@dataclass(frozen=True, kw_only=True)
class Line:
    """One kind of cost. ``formula`` says in words what ``dollars`` were made of."""

    what: str
    formula: str
    dollars: float


def bill(
    users: int,
    *,
    settings: AwsSettings | None = None,
    prices: Prices | None = None,
    habits: Habits | None = None,
) -> list[Line]:
    """A month's bill for so many users with one project each."""
    settings, prices, habits = settings or AwsSettings(), prices or Prices(), habits or Habits()
    return [
        _workers(users, settings, prices, habits),
        _requests(users, settings, prices, habits),
        _streams(users, settings, prices, habits),
        _sweep(users, settings, prices, habits),
        _table(users, settings, prices, habits),
        _queues(users, prices, habits),
        _logs(users, prices, habits),
        *([_previews(users, settings, prices, habits)] if settings.domain else []),
        _fixed(settings, prices),
        *([_pool(settings, prices, habits)] if settings.warm_pool else []),
    ]


def total(lines: Sequence[Line]) -> float:
    """Dollars a month."""
    return sum(line.dollars for line in lines)


def worker_hour(settings: AwsSettings, prices: Prices) -> float:
    """Dollars for an hour of one worker."""
    compute = settings.cpu / 1024 * prices.vcpu_hour + settings.memory / 1024 * prices.gb_hour
    return compute + prices.address_hour + max(0, settings.disk_gb - 20) * prices.disk_gb_hour


def _workers(users: int, settings: AwsSettings, prices: Prices, habits: Habits) -> Line:
    hours = users * habits.days * habits.worker_hours_a_day
    formula = "users x days x worker hours x (vCPU + GB + address)"
    return Line(what="Workers (Fargate)", formula=formula, dollars=hours * worker_hour(settings, prices))


def _requests(users: int, settings: AwsSettings, prices: Prices, habits: Habits) -> Line:
    count = users * habits.days * habits.messages_a_day * habits.requests_a_message
    seconds = count * habits.request_seconds * settings.lambda_memory / 1024
    dollars = seconds * prices.lambda_gb_second + count * prices.lambda_million / _MILLION
    return Line(what="Requests (Lambda)", formula="messages x requests x seconds x GB", dollars=dollars)


def _streams(users: int, settings: AwsSettings, prices: Prices, habits: Habits) -> Line:
    """A Lambda is not told that its reader has gone: what is left of its time, half of it on average, is paid
    for as well; and each stream that ends is a request or two more."""
    hours = users * habits.days * habits.page_hours_a_day
    left = habits.streams_left_an_hour * settings.stream_seconds / 2
    streams = hours * (habits.streams_left_an_hour + 2 * 3600 / settings.stream_seconds)
    seconds = hours * (3600 + left) * settings.lambda_memory / 1024
    dollars = seconds * prices.lambda_gb_second + streams * prices.lambda_million / _MILLION
    formula = "users x days x page hours x (3600 s + streams left x half a stream) x GB"
    return Line(what="Open pages (Lambda)", formula=formula, dollars=dollars)


def _sweep(users: int, settings: AwsSettings, prices: Prices, habits: Habits) -> Line:
    rounds = HOURS * 60
    seconds = rounds * (0.2 + users * habits.sweep_seconds_a_worker) * settings.lambda_memory / 1024
    each = prices.read_million / _MILLION + prices.sqs_million / _MILLION
    dollars = seconds * prices.lambda_gb_second + rounds * users * each
    formula = "minutes x (0.2 s + users x 4 ms) x GB + minutes x users x (read + request)"
    return Line(what="Sweep (Lambda, DynamoDB, SQS)", formula=formula, dollars=dollars)


def _table(users: int, settings: AwsSettings, prices: Prices, habits: Habits) -> Line:
    messages = users * habits.days * habits.messages_a_day
    hours = users * habits.days * habits.worker_hours_a_day
    session = habits.session_kilobytes_a_message if settings.workspace == "ephemeral" else 0
    # A worker renews its lease and looks at its bindings every 5 s. Sessions are written in transactions.
    writes = messages * (habits.writes_a_message + 2 * session) + hours * 720
    reads = (
        messages * habits.reads_a_message + hours * 720 + users * habits.page_hours_a_day * habits.days * 7200
    )
    kilobytes = habits.kilobytes_a_message * habits.months_kept + session * habits.session_months_kept
    gigabytes = messages * kilobytes / _MILLION
    dollars = (
        writes * prices.write_million / _MILLION
        + reads * prices.read_million / _MILLION
        + gigabytes * prices.table_gb
    )
    formula = "messages x (writes + session + reads) + worker hours x 720 x (write + read) + GB kept"
    return Line(what="Records (DynamoDB)", formula=formula, dollars=dollars)


def _queues(users: int, prices: Prices, habits: Habits) -> Line:
    hours = users * habits.days * habits.worker_hours_a_day
    messages = users * habits.days * habits.messages_a_day
    # 180 long polls an hour; a message is sent, received, held on to and deleted; Lambda polls the replies.
    requests = hours * 180 + messages * 10 + HOURS * 3600 / 20 * 5
    return Line(
        what="Queues (SQS)",
        formula="worker hours x 180 + messages x 10 + polls of the replies",
        dollars=requests * prices.sqs_million / _MILLION,
    )


def _logs(users: int, prices: Prices, habits: Habits) -> Line:
    hours = users * habits.days * habits.worker_hours_a_day
    gigabytes = hours * habits.log_megabytes_an_hour / _KILO
    return Line(what="Logs", formula="worker hours x MB", dollars=gigabytes * prices.log_gb)


def _previews(users: int, settings: AwsSettings, prices: Prices, habits: Habits) -> Line:
    loads = users * habits.days * habits.preview_loads_a_day
    count = loads * habits.requests_a_load
    seconds = count * habits.request_seconds * settings.lambda_memory / 1024
    dollars = (
        seconds * prices.lambda_gb_second
        + count * (prices.lambda_million / _MILLION + prices.edge_ten_thousand / 10_000)
        + loads * habits.kilobytes_a_load / _MILLION * prices.edge_gb
    )
    formula = "loads x requests x (seconds x GB + request) + GB to viewers"
    return Line(what="Previews (CloudFront, Lambda)", formula=formula, dollars=dollars)


def _fixed(settings: AwsSettings, prices: Prices) -> Line:
    """What is paid without anybody: secrets, alarms, metrics, ten images of 1 GB that share layers."""
    secrets = 4 + int(settings.domain is not None)
    watched = ALARMS * prices.alarm + METRICS * prices.metric if settings.watch else 0.0
    dollars = secrets * prices.secret + watched + 2 * prices.image_gb
    return Line(what="Secrets, alarms, images", formula="fixed", dollars=dollars)


def _pool(settings: AwsSettings, prices: Prices, habits: Habits) -> Line:
    """Tasks that run all month, whoever is there; a claimed one is a worker's hours, and replaced."""
    hour = worker_hour(settings, prices) + habits.looks_of_a_slot * prices.read_million / _MILLION
    formula = "slots x hours of a month x (vCPU + GB + address + reads)"
    return Line(what="Warm pool", formula=formula, dollars=settings.warm_pool * HOURS * hour)


def table(users: Sequence[int] = (1, 10, 100, 1000)) -> str:
    """The table as Markdown."""
    bills = [bill(count) for count in users]
    heads = " | ".join(f"{count:,} user{'s' if count > 1 else ''}" for count in users)
    rows = [f"| | {heads} | how |", "|---" * (len(users) + 2) + "|"]
    for lines in zip(*bills, strict=True):
        cells = " | ".join(f"{line.dollars:,.2f}" for line in lines)
        rows.append(f"| {lines[0].what} | {cells} | {lines[0].formula} |")
    sums = " | ".join(f"**{total(lines):,.2f}**" for lines in bills)
    each = " | ".join(f"{total(lines) / count:,.2f}" for lines, count in zip(bills, users, strict=True))
    return "\n".join([*rows, f"| **Dollars a month** | {sums} | |", f"| for each user | {each} | |"])


if __name__ == "__main__":
    print(table())
