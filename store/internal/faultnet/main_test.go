package faultnet

import (
	"testing"

	"github.com/botsession/botsession/store/internal/redistest"
)

func TestMain(m *testing.M) { redistest.Main(m) }
