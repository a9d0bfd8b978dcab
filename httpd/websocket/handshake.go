package websocket

import (
	"crypto/sha1" //nolint:gosec // RFC 6455 asks for it, and no secret depends on it
	"encoding/base64"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/evmq/evmq/httpd/internal/http1"
)

// version is the version of the protocol.
const version = "13"

// A refusal is the response to a request that is no valid opening handshake.
type refusal struct {
	status int
	text   string
	header http.Header
}

// upgradeRequired has the fields of a response with 426, which names the protocol also if only the version is wrong: RFC 9110, section 15.5.22.
var upgradeRequired = http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}, "Sec-WebSocket-Version": {version}}

// checkRequest returns a refusal if r is no valid opening handshake.
func (h *Handler) checkRequest(r *http.Request) *refusal {
	switch key, err := base64.StdEncoding.DecodeString(r.Header.Get("Sec-WebSocket-Key")); {
	case r.Method != http.MethodGet:
		return &refusal{http.StatusMethodNotAllowed, "the method is not GET", http.Header{"Allow": {http.MethodGet}}}
	case r.ProtoMajor == 1 && !r.ProtoAtLeast(1, 1):
		return &refusal{http.StatusBadRequest, "the request is of HTTP/1.0", nil}
	case !http1.HasToken(r.Header["Upgrade"], "websocket") || !http1.HasToken(r.Header["Connection"], "upgrade"):
		return &refusal{http.StatusUpgradeRequired, "the request asks for no upgrade to WebSocket", upgradeRequired}
	case !slices.Equal(r.Header["Sec-Websocket-Version"], []string{version}):
		return &refusal{http.StatusUpgradeRequired, "the version is not " + version, upgradeRequired}
	case len(r.Header["Sec-Websocket-Key"]) != 1 || err != nil || len(key) != 16:
		return &refusal{http.StatusBadRequest, "Sec-WebSocket-Key is not valid", nil}
	case r.ContentLength != 0:
		return &refusal{http.StatusBadRequest, "the request has a body", nil}
	case !h.allowsOrigin(r):
		return &refusal{http.StatusForbidden, "the origin is not allowed", nil}
	}
	return nil
}

// accept returns the value of Sec-WebSocket-Accept for a key.
func accept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // as above
	return base64.StdEncoding.EncodeToString(sum[:])
}

// allowsOrigin reports whether the page that the request comes from may connect.
func (h *Handler) allowsOrigin(r *http.Request) bool {
	if h.cfg.CheckOrigin != nil {
		return h.cfg.CheckOrigin(r)
	}
	origins := r.Header["Origin"]
	if len(origins) == 0 {
		return true
	}
	if len(origins) > 1 {
		return false
	}
	for _, allowed := range h.cfg.AllowedOrigins {
		if allowed == "*" || strings.EqualFold(allowed, origins[0]) {
			return true
		}
	}
	u, err := url.Parse(origins[0])
	if err != nil || u.Host == "" {
		return false
	}
	return strings.EqualFold(withoutPort(u.Host, u.Scheme), withoutPort(r.Host, u.Scheme))
}

// withoutPort returns host without the default port of the scheme.
func withoutPort(host, scheme string) string {
	name, port, err := net.SplitHostPort(host)
	if err == nil && (scheme == "http" && port == "80" || scheme == "https" && port == "443") {
		if strings.Contains(name, ":") {
			return "[" + name + "]"
		}
		return name
	}
	return host
}

// subprotocol returns the first of the handler's subprotocols that the client offers, as Conn.subprotocol has it.
func (h *Handler) subprotocol(r *http.Request) uint16 {
	for i, p := range h.cfg.Subprotocols {
		for _, list := range r.Header["Sec-Websocket-Protocol"] {
			for offered := range strings.SplitSeq(list, ",") {
				if strings.Trim(offered, " \t") == p { // names of subprotocols are case-sensitive
					return uint16(i + 1)
				}
			}
		}
	}
	return 0
}
