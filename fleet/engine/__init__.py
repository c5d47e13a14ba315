"""The embedded engine: SQS and DynamoDB on one machine, without an account.

The files here run as a script inside an environment of their own (`requirements-engine.txt`), so they may
import only the standard library, ministack and each other. Nothing of Branchline may be imported here, and
nothing here may be imported by Branchline: the two meet over HTTP.
"""
