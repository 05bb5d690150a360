"""Why a WebSocket is closed: codes of RFC 6455 and of the registry that it founded."""

NORMAL, UNSUPPORTED_DATA, POLICY_VIOLATION, SERVICE_RESTART, TRY_AGAIN_LATER = 1000, 1003, 1008, 1012, 1013
