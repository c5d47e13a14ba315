"""What stands before the functions when there is a domain: CloudFront, for the page and for previews.

It passes everything on and keeps nothing. A function URL is asked by its own name, so a function at the edge
writes down which name the viewer asked for, and CloudFront shows a key so that this is believed
(``dispatcher/edge.py``).
"""

from aws_cdk import CfnOutput, Duration, SecretValue, Stack
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_cloudfront_origins as origins
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_route53 as route53
from constructs import Construct

from cdk import settings as names
from cdk.data import Data
from cdk.dispatcher import Code, Dispatcher
from cdk.previews import Previews
from cdk.workers import Workers

READ_SECONDS = 60
"""How long CloudFront waits for a piece of an answer; a stream of events has one every 15 seconds."""
KEY_HEADER = "x-branchline-edge"
WHO = """function handler(event) {
  var headers = event.request.headers;
  headers['x-forwarded-host'] = { value: headers.host.value };
  headers['x-branchline-viewer'] = { value: event.viewer.ip };
  return event.request;
}
"""
"""Whatever a viewer says in these headers is written over."""
_ERRORS = (400, 403, 404, 405, 414, 500, 501, 502, 503, 504)
"""Kept for 10 seconds unless it is said otherwise, also where nothing else is: one would get another's."""
_CLOUDFRONT_ZONE = "Z2FDTNDATAQYW2"
"""Where Route 53 has the names of all distributions."""


class Edge(Stack):
    """``page`` and ``previews`` are the distributions."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        settings: names.AwsSettings,
        data: Data,
        workers: Workers,
        dispatcher: Dispatcher,
        code: Code,
    ) -> None:
        super().__init__(scope, name, description="Branchline: a domain, and previews of workers below it")
        self._settings = settings
        passing = Previews(
            self,
            "Previews",
            settings=settings,
            data=data,
            workers=workers,
            dispatcher=dispatcher,
            code=code,
        )
        self._who = cloudfront.Function(
            self,
            "Who",
            code=cloudfront.FunctionCode.from_inline(WHO),
            runtime=cloudfront.FunctionRuntime.JS_2_0,
            comment="Says which name the viewer asked for, and from where",
        )
        self._certificate = acm.Certificate.from_certificate_arn(
            self, "Certificate", str(settings.certificate)
        )
        self.page = self._before(dispatcher.url, "Page", name=str(settings.domain))
        self.previews = self._before(passing.url, "Sites", name=f"*.{settings.domain}")
        CfnOutput(self, "PageTarget", value=self.page.domain_name)
        CfnOutput(self, "PreviewsTarget", value=self.previews.domain_name)

    def _before(self, url: lambda_.FunctionUrl, id_: str, *, name: str) -> cloudfront.Distribution:
        """A distribution that passes everything on to a function."""
        key = SecretValue.secrets_manager(names.EDGE_SECRET).unsafe_unwrap()
        origin = origins.FunctionUrlOrigin(
            url, custom_headers={KEY_HEADER: key}, read_timeout=Duration.seconds(READ_SECONDS)
        )
        who = cloudfront.FunctionAssociation(
            function=self._who, event_type=cloudfront.FunctionEventType.VIEWER_REQUEST
        )
        made = cloudfront.Distribution(
            self,
            id_,
            comment=f"Branchline: {name}",
            domain_names=[name],
            certificate=self._certificate,
            minimum_protocol_version=cloudfront.SecurityPolicyProtocol.TLS_V1_2_2021,
            http_version=cloudfront.HttpVersion.HTTP2_AND_3,
            error_responses=[
                cloudfront.ErrorResponse(http_status=status, ttl=Duration.seconds(0)) for status in _ERRORS
            ],
            default_behavior=cloudfront.BehaviorOptions(
                origin=origin,
                allowed_methods=cloudfront.AllowedMethods.ALLOW_ALL,
                cache_policy=cloudfront.CachePolicy.CACHING_DISABLED,
                origin_request_policy=cloudfront.OriginRequestPolicy.ALL_VIEWER_EXCEPT_HOST_HEADER,
                viewer_protocol_policy=cloudfront.ViewerProtocolPolicy.REDIRECT_TO_HTTPS,
                compress=False,
                function_associations=[who],
            ),
        )
        self._records(id_, name=name, to=made)
        return made

    def _records(self, id_: str, *, name: str, to: cloudfront.Distribution) -> None:
        target = route53.CfnRecordSet.AliasTargetProperty(
            dns_name=to.domain_name, hosted_zone_id=_CLOUDFRONT_ZONE
        )
        for type_ in ("A", "AAAA") if self._settings.hosted_zone else ():
            route53.CfnRecordSet(
                self,
                f"{id_}{type_}",
                hosted_zone_id=self._settings.hosted_zone,
                name=name,
                type=type_,
                alias_target=target,
            )
