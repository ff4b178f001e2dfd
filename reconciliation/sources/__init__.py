"""Sources 对账来源: files and books read as lines; nothing is matched here."""
