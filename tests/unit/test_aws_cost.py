"""The arithmetic of the cost table, by hand for one line each, and what must follow from it."""

from pathlib import Path

import pytest

from cdk import cost
from cdk.cost import Habits, Prices, bill, total
from cdk.settings import AwsSettings

SMALL = AwsSettings(cpu=512, memory=1024, lambda_memory=512, watch=False)
ROUND = Prices(
    vcpu_hour=2,
    gb_hour=4,
    address_hour=0.5,
    disk_gb_hour=1,
    lambda_gb_second=0.01,
    lambda_million=1_000_000,
    read_million=1_000_000,
    write_million=2_000_000,
    table_gb=3,
    sqs_million=1_000_000,
    secret=10,
    image_gb=1,
    log_gb=7,
)
FEW = Habits(
    days=2,
    messages_a_day=3,
    worker_hours_a_day=5,
    page_hours_a_day=1,
    requests_a_message=2,
    request_seconds=4,
    writes_a_message=10,
    reads_a_message=20,
    kilobytes_a_message=500_000,
    session_kilobytes_a_message=5,
    session_months_kept=0,
    months_kept=2,
    log_megabytes_an_hour=100,
    sweep_seconds_a_worker=0.1,
    streams_left_an_hour=6,
)
BY_HAND = {
    "Workers (Fargate)": 10 * (0.5 * 2 + 1 * 4 + 0.5),
    "Requests (Lambda)": 12 * 4 * 0.5 * 0.01 + 12 * 1,
    "Open pages (Lambda)": 2 * (3600 + 6 * 30) * 0.5 * 0.01 + 2 * (6 + 120) * 1,
    "Sweep (Lambda, DynamoDB, SQS)": 43_800 * 0.3 * 0.5 * 0.01 + 43_800 * 2,
    "Records (DynamoDB)": (6 * 20 + 10 * 720) * 2 + (6 * 20 + 10 * 720 + 2 * 7200) * 1 + 6 * 0.5 * 2 * 3,
    "Queues (SQS)": 10 * 180 + 6 * 10 + 730 * 180 * 5,
    "Logs": 10 * 0.1 * 7,
    "Secrets, alarms, images": 4 * 10 + 2,
}


def test_each_line_is_what_it_comes_to_by_hand() -> None:
    lines = bill(1, settings=SMALL, prices=ROUND, habits=FEW)
    assert {line.what: pytest.approx(line.dollars) for line in lines} == BY_HAND
    assert total(lines) == pytest.approx(sum(BY_HAND.values()))


def test_a_domain_costs_its_previews_and_a_secret() -> None:
    certificate = "arn:aws:acm:us-east-1:123456789012:certificate/12345678-1234-1234-1234-123456789012"
    named = SMALL.model_copy(update={"domain": "chat.example.com", "certificate": certificate})
    lines = {line.what: line.dollars for line in bill(1, settings=named, prices=ROUND, habits=FEW)}
    loads = 2 * 40
    count = loads * 30
    by_hand = count * 4 * 0.5 * 0.01 + count * (1 + 0.01 / 10_000) + loads * 1500 / 1e6 * 0.085
    assert lines["Previews (CloudFront, Lambda)"] == pytest.approx(by_hand)
    assert lines["Secrets, alarms, images"] == 5 * 10 + 2


def test_a_larger_disk_costs_by_the_hour_and_twenty_gigabytes_do_not() -> None:
    free, paid = (cost.worker_hour(AwsSettings(disk_gb=gb), ROUND) for gb in (20, 50))
    assert paid - free == pytest.approx(30)


def test_a_warm_pool_is_paid_all_month_by_the_slot_and_is_no_line_without_one() -> None:
    pool = AwsSettings(cpu=512, memory=1024, lambda_memory=512, watch=False, warm_pool=3)
    lines = {line.what: line.dollars for line in bill(1, settings=pool, prices=ROUND, habits=FEW)}
    assert lines.pop("Warm pool") == pytest.approx(3 * 730 * ((0.5 * 2 + 1 * 4 + 0.5) + 3600 * 1))
    assert {what: pytest.approx(dollars) for what, dollars in lines.items()} == BY_HAND


def test_the_documents_say_what_a_slot_costs() -> None:
    (line,) = [line for line in bill(1, settings=AwsSettings(warm_pool=1)) if line.what == "Warm pool"]
    shown = (Path(__file__).resolve().parents[2] / "docs" / "aws.md").read_text()
    assert f"{line.dollars:.2f} dollars a month for each slot" in shown


def test_what_is_fixed_does_not_grow_and_the_rest_does() -> None:
    one, thousand = bill(1), bill(1000)
    for small, large in zip(one, thousand, strict=True):
        if small.formula == "fixed":
            assert small.dollars == large.dollars
        else:
            assert 10 * small.dollars < large.dollars <= 1000 * small.dollars * 1.001, small.what


def test_the_table_has_a_column_for_each_size_and_adds_up() -> None:
    rows = [row.split("|")[1:-1] for row in cost.table((1, 10)).splitlines()]
    assert {len(row) for row in rows} == {4}
    sums = {row[0].strip(): float(row[2].strip(" *").replace(",", "")) for row in rows[2:]}
    assert sums["**Dollars a month**"] == pytest.approx(total(bill(10)), abs=0.01)
    parts = [v for k, v in sums.items() if k not in ("**Dollars a month**", "for each user")]
    assert sum(parts) == pytest.approx(sums["**Dollars a month**"], abs=0.05)


def test_the_documents_show_this_table() -> None:
    shown = (Path(__file__).resolve().parents[2] / "docs" / "aws.md").read_text()
    assert cost.table() in shown, "write what `python -m cdk.cost` prints into docs/aws.md"
