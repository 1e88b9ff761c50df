def run_all(scenarios, client, started, broker, text, log):
    return []
