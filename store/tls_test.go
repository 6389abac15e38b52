package store

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/botsession/botsession/store/internal/redistest"
)

// tlsServer listens with TLS and a certificate of its own, ends each handshake,
// and then hangs up. It returns the address.
func tlsServer(t *testing.T, config *tls.Config) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	name := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	cert, err := x509.CreateCertificate(rand.Reader, name, name, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	config.Certificates = []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}}
	return serve(t, func(conn net.Conn) {
		tls.Server(conn, config).HandshakeContext(t.Context())
	})
}

// serve calls handle for each connection, and closes the connection.
func serve(t *testing.T, handle func(net.Conn)) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(time.Minute))
				handle(conn)
			}()
		}
	}()
	return listener.Addr().String()
}

func openError(t *testing.T, url string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	st, err := Open(ctx, url, &Options{Timeout: 500 * time.Millisecond})
	if err == nil {
		st.Close()
		t.Fatalf("%s: opened", url)
	}
	if ctx.Err() != nil {
		t.Fatalf("%s: %v, after a minute", url, err)
	}
	return err.Error()
}

// saysOfTLS checks that the error of Open says so of the server, for each of its URLs
// with the scheme to use instead.
func saysOfTLS(t *testing.T, addr, says string, urls map[string]string) {
	t.Helper()
	for url, scheme := range urls {
		if got := openError(t, url); !strings.Contains(got, "the server at "+addr+" "+says+" TLS: use "+scheme+"://") {
			t.Errorf("%s: %s", url, got)
		}
	}
}

func TestOpenSaysThatAServerDoesNotSpeakTLS(t *testing.T) {
	t.Parallel()
	locked := serve(t, func(conn net.Conn) {
		conn.Read(make([]byte, 1<<16))
		conn.Write([]byte("-NOAUTH Authentication required.\r\n"))
	})
	for _, addr := range []string{strings.TrimPrefix(redistest.Single(t), "redis://"), locked} {
		saysOfTLS(t, addr, "does not speak", map[string]string{
			"rediss://:word@" + addr:              "redis",
			"rediss+cluster://:word@" + addr:      "redis+cluster",
			"rediss+sentinel://" + addr + "/main": "redis+sentinel",
		})
	}
}

func TestOpenSaysThatAServerSpeaksTLS(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]*tls.Config{
		"as usual":                           {},
		"and wants the client's certificate": {ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12},
		"of a version that is too old":       {MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := tlsServer(t, config)
			saysOfTLS(t, addr, "speaks", map[string]string{
				"redis://" + addr:                    "rediss",
				"redis+cluster://" + addr:            "rediss+cluster",
				"redis+sentinel://" + addr + "/main": "rediss+sentinel",
			})
		})
	}
}

func TestOpenSaysNothingOfTLSWhereThatIsNotTheCause(t *testing.T) {
	t.Parallel()
	silent := serve(t, func(conn net.Conn) { conn.Read(make([]byte, 1<<16)); <-t.Context().Done() })
	rude := serve(t, func(conn net.Conn) { conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) })
	secure := tlsServer(t, &tls.Config{}) // whose certificate nobody knows
	for _, url := range []string{"redis://" + silent, "rediss://" + silent, "redis://" + rude, "rediss://" + rude, "rediss://" + secure, "unix:///no/such/socket"} {
		if got := openError(t, url); strings.Contains(got, "speak") {
			t.Errorf("%s: %s", url, got)
		}
	}
}

// A server that does not know AUTH repeats what follows it, and cuts that short.
func TestOpenShowsNoPasswordThatAServerRepeats(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("QXZJ", 100)
	deaf := strings.TrimPrefix(redistest.Single(t, "--rename-command", "AUTH", "", "--rename-command", "HELLO", ""), "redis://")
	echo := serve(t, func(conn net.Conn) {
		for buf := make([]byte, 1<<16); ; {
			n, err := conn.Read(buf)
			if err != nil {
				return
			}
			conn.Write([]byte("-ERR what is " + strings.NewReplacer("\r", " ", "\n", " ").Replace(string(buf[:n])) + "\r\n"))
		}
	})
	for _, url := range []string{
		"redis://:QXZJ@" + deaf, "redis://bot:QXZJ@" + deaf, "redis://:" + long + "@" + deaf, "redis+cluster://bot:QXZJ@" + deaf,
		"redis+sentinel://" + deaf + "/main?sentinel_password=QXZJ", "redis+sentinel://:QXZJ@" + deaf + "/main?sentinel_username=bot&sentinel_password=" + long,
		"redis://:QXZJ@" + echo, "redis://bot:QXZJ@" + echo, "redis+cluster://:QXZJ@" + echo, "redis+sentinel://" + echo + "/main?sentinel_password=QXZJ",
	} {
		if got := openError(t, url); strings.ContainsAny(got, "QXZJ") {
			t.Errorf("the error shows the password: %s", got)
		}
	}
}
