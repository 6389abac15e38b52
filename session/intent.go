package session

// An Intent is what a classifier made of a user's message.
type Intent struct {
	Name     string  `json:"name"`               // Name is the intent's name, by which Turn.Match finds it.
	Score    float64 `json:"score"`              // Score is the classifier's confidence, usually 0 to 1.
	Sentence string  `json:"sentence,omitempty"` // Sentence is the sentence that matched.
	Params   []Param `json:"params,omitempty"`   // Params are the parameters that matched.
}

// A Param is one matched parameter of an [Intent].
type Param struct {
	Name  string `json:"name"`           // Name is the parameter's name.
	Value any    `json:"value"`          // Value is its value. Nil means that it was not found.
	Info  any    `json:"info,omitempty"` // Info is anything else that the classifier says about it.
}

// The flags that the library itself raises and lowers. All others are the
// bot's.
const (
	FlagIntent = "predicted_intent" // an intent was set and no move has consumed it
	FlagFile   = "file"             // a file came and no move has consumed it
)

// A Transition is a move from one state to another.
type Transition struct {
	From string `json:"from"` // From is the state before.
	To   string `json:"to"`   // To is the state after.
}
