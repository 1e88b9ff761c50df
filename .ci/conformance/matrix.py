"""Which client can do what: a row for each scenario, a column for each client."""

SIGNS = {"passed": "ok", "failed": "FAILED", "not possible": "-", None: ""}


class Matrix:
    def __init__(self, clients, results):
        self.clients = clients
        self.results = results
        self.cells = {(one["scenario"], one["client"]): one for one in results}
        self.rows = list(dict.fromkeys(one["scenario"] for one in results))

    def counts(self):
        outcomes = [one["outcome"] for one in self.results]
        return tuple(outcomes.count(name) for name in ("passed", "failed", "not possible"))

    def sign(self, row, client):
        return SIGNS[self.cells.get((row, client.name), {}).get("outcome")]

    def text(self):
        width = max(map(len, self.rows), default=0)
        names = [one.name for one in self.clients]
        lines = [" ".join([" " * width, *names])]
        for row in self.rows:
            signs = [self.sign(row, one).ljust(len(one.name)) for one in self.clients]
            lines.append(" ".join([row.ljust(width), *signs]).rstrip())
        for one in self.results:
            if one["outcome"] == "failed":
                lines.append(f"\nFAILED {one['client']}: {one['scenario']}\n    {one['why']}")
        return "\n".join(lines)

    def markdown(self):
        """With a footnote for each cell that a client has no call for."""
        lines = [
            f"| scenario | {' | '.join(one.title for one in self.clients)} |",
            f"|---|{'---|' * len(self.clients)}",
        ]
        notes = {}
        for row in self.rows:
            signs = []
            for client in self.clients:
                why = self.cells.get((row, client.name), {}).get("why")
                sign = self.sign(row, client)
                if sign == "-":
                    number = notes.setdefault((client.title, why), len(notes) + 1)
                    sign = f"- ({number})"
                signs.append(sign)
            lines.append(f"| {row} | {' | '.join(signs)} |")
        lines += ["", "`-`: the client cannot do that, whatever the broker.", ""]
        lines += [f"{number}. {title}: {why}" for (title, why), number in notes.items()]
        return "\n".join(lines) + "\n"
