"""What outlives every deployment: the records, the queue of replies, the secrets, the images.

Nothing in here computes, and nothing in here is thrown away by accident. The queues of workers are not
here: the dispatcher makes them at first contact.
"""

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_secretsmanager as secrets
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from cdk import settings as names
from contracts.places import REPLIES_DEAD, REPLIES_QUEUE
from contracts.records import TTL_ATTRIBUTE

REPLIES_VISIBILITY = 60
REPLIES_RECEIVES = 20
"""Both as ``dispatcher.rings`` sets them; a test compares."""
_RETENTION = Duration.days(14)


class Data(Stack):
    """``table``, ``replies``, ``replies_dead``, ``images`` and the secrets ``model``, ``github``,
    ``dispatcher``, ``operator``, ``edge``."""

    def __init__(self, scope: Construct, name: str, *, settings: names.AwsSettings) -> None:
        super().__init__(scope, name, description="Branchline: records, queues, secrets, images")
        self.table = self._table()
        self.replies_dead = self._queue("RepliesDead", name=REPLIES_DEAD, dead=None)
        self.replies = self._queue("Replies", name=REPLIES_QUEUE, dead=self.replies_dead)
        self.images = self._images()
        self.model = self._secret("Model", name=names.MODEL_SECRET, what="The key of the model")
        # Whether workers are given them or not: what they refer to cannot go away before they change.
        self.export_value(self.model.secret_arn)
        self.github = self._secret("GitHub", name=names.GITHUB_SECRET, what="A token of GitHub's")
        self.export_value(self.github.secret_arn)
        self.dispatcher = self._dispatcher()
        self.operator = self._chance(
            "Operator", name=names.OPERATOR_SECRET, what="Bearer token that may do everything"
        )
        self.edge = (
            self._chance(
                "Edge", name=names.EDGE_SECRET, what="What CloudFront shows to the functions behind it"
            )
            if settings.domain
            else None
        )

    def _table(self) -> dynamodb.TableV2:
        return dynamodb.TableV2(
            self,
            "Table",
            table_name=names.TABLE,
            partition_key=dynamodb.Attribute(name="pk", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="sk", type=dynamodb.AttributeType.STRING),
            billing=dynamodb.Billing.on_demand(),
            time_to_live_attribute=TTL_ATTRIBUTE,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            deletion_protection=True,
            # A first creation that fails takes it back; where its protection forbids that, deploy does.
            removal_policy=RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
        )

    def _queue(self, id_: str, *, name: str, dead: sqs.Queue | None) -> sqs.Queue:
        redrive = sqs.DeadLetterQueue(queue=dead, max_receive_count=REPLIES_RECEIVES) if dead else None
        return sqs.Queue(
            self,
            id_,
            queue_name=name,
            retention_period=_RETENTION,
            visibility_timeout=Duration.seconds(REPLIES_VISIBILITY) if dead else None,
            receive_message_wait_time=Duration.seconds(20) if dead else None,
            dead_letter_queue=redrive,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            removal_policy=RemovalPolicy.DESTROY,
        )

    def _images(self) -> ecr.Repository:
        return ecr.Repository(
            self,
            "Images",
            repository_name=names.REPOSITORY,
            image_scan_on_push=True,
            image_tag_mutability=ecr.TagMutability.IMMUTABLE,
            lifecycle_rules=[ecr.LifecycleRule(max_image_count=10, description="Ten images to go back to")],
            removal_policy=RemovalPolicy.DESTROY,
            empty_on_delete=False,
        )

    def _secret(self, id_: str, *, name: str, what: str) -> secrets.Secret:
        """One that ``branchline deploy`` fills; until then it holds chance, which opens nothing."""
        return secrets.Secret(self, id_, secret_name=name, description=what)

    def _chance(self, id_: str, *, name: str, what: str) -> secrets.Secret:
        """One that nobody has to fill."""
        made = secrets.SecretStringGenerator(exclude_punctuation=True, password_length=48)
        return secrets.Secret(self, id_, secret_name=name, description=what, generate_secret_string=made)

    def _dispatcher(self) -> secrets.Secret:
        return secrets.Secret(
            self,
            "Dispatcher",
            secret_name=names.DISPATCHER_SECRET,
            description="JSON of variables that only the dispatcher knows: SLACK_*, GITHUB_*, BRANCHLINE_*",
            generate_secret_string=secrets.SecretStringGenerator(
                secret_string_template="{}",  # noqa: S106 - an empty object
                generate_string_key="BRANCHLINE_SEAL_KEY",
                exclude_punctuation=True,
                password_length=48,
            ),
        )
